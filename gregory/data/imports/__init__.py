"""From a file of a screening tool to articles that are all valid, or the errors of the file. No database.

file -> Source (format, encoding) -> Table (columns, records) -> ImportFile (rows, refused rows)
"""
