"""Damage to a file, drawn by hypothesis."""

from hypothesis import strategies as st


def damaged(whole: bytes, data: st.DataObject) -> bytes:
    """The bytes with one bit flipped, or cut off at some place."""
    at = data.draw(st.integers(0, len(whole) - 1), label="at")
    bit = data.draw(st.none() | st.integers(0, 7), label="bit to flip, or cut off there")
    found = bytearray(whole[:at] if bit is None else whole)
    if bit is not None:
        found[at] ^= 1 << bit
    return bytes(found)
