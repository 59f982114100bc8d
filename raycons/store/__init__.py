"""An ordered map of bytes with atomic batches: in memory, and on disk."""
