"""The hosted page that asks for a card, and the page that sends the browser back."""

from html import escape

from sandbox.payments.book import CARDS, Order

_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:2rem auto;padding:0 1rem;color:#16202e}}
label{{display:block;margin:.8rem 0}}input{{width:100%;font:inherit;padding:.4rem;box-sizing:border-box}}
input[type=checkbox]{{width:auto}}button{{font:inherit;padding:.5rem 1rem}}</style></head>
<body><main>{body}</main></body></html>"""


def ask(order: Order, problem: str = "") -> bytes:
    """The form. Only the sandbox's own card numbers are taken."""
    amount = f"{order.kurus // 100}.{order.kurus % 100:02d} {order.currency}"
    body = f"""<h1>Sandbox payment</h1><p>Nothing is really paid here. Amount: <strong>{escape(amount)}</strong></p>
<p role="alert">{escape(problem)}</p>
<form method="post">
<label>Card number <input name="card" value="{next(iter(CARDS))}" inputmode="numeric" required></label>
<label>Expiry <input name="expiry" value="12/30"></label><label>CVC <input name="cvc" value="123"></label>
<label><input type="checkbox" name="close" value="1"> close the tab afterwards</label>
<button>Pay</button></form>"""
    return _FRAME.format(title="Sandbox payment", body=body).encode()


def done(order: Order, closed: bool) -> bytes:
    """Back to the merchant: iyzico's page posts the token, PayTR's goes there. A closed tab does neither."""
    if closed:
        return _FRAME.format(title="Closed", body="<p>The tab was closed: nobody goes back.</p>").encode()
    method, field = ("post", f'<input type="hidden" name="token" value="{order.token}">')
    url = order.return_url if order.state == "paid" else order.fail_url
    if order.provider == "paytr":
        method, field = "get", ""
    body = f"""<form method="{method}" action="{escape(url)}" id="back">{field}<button>Back to the shop</button></form>
<script>document.getElementById("back").submit()</script>"""
    return _FRAME.format(title="Thank you", body=body).encode()
