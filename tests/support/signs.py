"""Characters that must not reach a terminal."""

OBEYED = "".join(
    chr(code)
    for code in (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\t\n"
)
"""What a terminal obeys, and what turns text around."""
