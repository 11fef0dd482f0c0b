"""What a person reads when the instance is ready."""

from typing import Any

_TEXT = """
ready in {seconds:.1f} s
  base URL   {base_url}{more}
  API key    {api_key}
  account    {account_id}
  data       {data}{console}

  curl {base_url}/chat/completions -H "Authorization: Bearer {api_key}" -H "Content-Type: application/json" \\
    -d '{{"model": "openai/gpt-4o-mini", "messages": [{{"role": "user", "content": "Merhaba"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{base_url}", api_key="{api_key}")
  answer = client.chat.completions.create(
      model="openai/gpt-4o-mini", messages=[{{"role": "user", "content": "Merhaba"}}]
  )

  ./dev balance {account_id}      ./dev models list      ./dev ledger tail
  Ctrl-C drains and stops everything.
"""


def welcome(document: dict[str, Any], seconds: float) -> str:
    """The text for an instance that dev.json describes."""
    more = "".join(f"\n             {url}" for url in document["base_urls"][1:])
    return _TEXT.format(**document, more=more, console=_console(document), seconds=seconds)


def _console(document: dict[str, Any]) -> str:
    if not document["console_url"]:
        return ""
    lines = [f"\n  console    {document['console_url']}"]
    for name, person in document["console_people"].items():
        code = f"   TOTP secret {person['totp_secret']}" if person["totp_secret"] else ""
        lines.append(f"             {name}: {person['email']} / {person['password']}{code}")
    return "\n".join(lines)
