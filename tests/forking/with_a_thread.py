"""A server that imports this module has a second thread."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
