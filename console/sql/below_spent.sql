-- What accounts below a partner paid on some days, the dearest of each currency first; of those that `accounts` names,
-- separated by commas, or of all.
WITH
    family AS
    (
        SELECT account_id FROM accounts WHERE account_id = {partner:String} OR parent_id = {partner:String}
    ),
    named AS (SELECT arrayJoin(splitByChar(',', {accounts:String})))
SELECT d.account_id AS name, sum(d.calls) AS calls, sum(d.charge_nano) AS charge_nano
FROM charges_daily AS d
WHERE d.parent_id IN family AND d.day BETWEEN {first:Date} AND {last:Date}
    AND ({accounts:String} = '' OR d.account_id IN named)
GROUP BY d.account_id, d.currency
ORDER BY charge_nano DESC, name
LIMIT 100 BY d.currency
