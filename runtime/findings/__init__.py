"""What a check looks into beyond scores: contamination, disagreements, corruptions.

Judges nothing, and knows neither ledger nor gates.
"""
