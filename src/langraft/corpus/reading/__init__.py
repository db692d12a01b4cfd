"""Reading files: addresses, retries, compression, lines, records, columns and sentence pairs."""
