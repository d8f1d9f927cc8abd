"""What runs beside and inside a sandbox: standard library only, so that any Python 3.9 or newer can run it."""
