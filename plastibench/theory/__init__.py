"""The learning framework of the DASH paper, without a network."""
