"""From stored bytes to lines, records, columns and pairs: what the sources have in common."""
