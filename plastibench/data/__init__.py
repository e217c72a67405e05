"""Data sets: downloads, verification, decoding, batches and augmentation."""
