"""Why an administrator does something, in their own words."""

from console.web.context import Context, Problem
from console.web.guards import form_of
from runtime.personal import has_personal_data

REASON_CHARACTERS_MAX = 200


def reason_of(context: Context) -> str:
    """Why something is done, as the form says. Raises Problem: it is kept for good, so it names nobody."""
    reason = form_of(context).get("reason", "")
    if not 0 < len(reason) <= REASON_CHARACTERS_MAX:
        most = context.formats.number(REASON_CHARACTERS_MAX)
        raise Problem(context.translate("Please give a reason of at most %(most)s characters.", most=most))
    if has_personal_data(reason):
        raise Problem(
            context.translate(
                "A reason is kept for good: please leave out e-mail addresses, tax and telephone numbers."
            )
        )
    return reason
