"""Dates of the lists, as in the rest of the product: ISO 8601, UTC."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i"
