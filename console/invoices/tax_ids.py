"""Turkish tax numbers: VKN of companies (ten digits), TCKN of people (eleven). The last digits are checksums."""

UNKNOWN_PERSON = "11111111111"
"""What an invoice has for a person who gives no number."""


def is_vkn(text: str) -> bool:
    """Ten digits, the last of which follows from the others."""
    if len(text) != 10 or not (text.isascii() and text.isdecimal()):
        return False
    total = 0
    for index, char in enumerate(text[:9]):
        shifted = (int(char) + 9 - index) % 10
        total += 9 if shifted == 9 else shifted * 2 ** (9 - index) % 9
    return (10 - total % 10) % 10 == int(text[9])


def is_tckn(text: str) -> bool:
    """Eleven digits, not beginning with 0; the tenth and eleventh follow from the others."""
    if len(text) != 11 or not (text.isascii() and text.isdecimal()) or text[0] == "0":
        return False
    digits = [int(char) for char in text]
    odd, even = sum(digits[0:9:2]), sum(digits[1:8:2])
    return (7 * odd - even) % 10 == digits[9] and sum(digits[:10]) % 10 == digits[10]
