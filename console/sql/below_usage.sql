-- What accounts below a partner used, by $group, those with one currency; `refused`: calls that a limit turned away.
-- `own_nano` is what the partner's own balance paid for it. Of one account or model where they are named. Nano-units.
WITH
    family AS
    (
        SELECT account_id FROM accounts WHERE account_id = {partner:String} OR parent_id = {partner:String}
    ),
    below AS
    (
        SELECT account_id FROM accounts
        WHERE parent_id IN family AND currency = {currency:String}
            AND ({account:String} = '' OR account_id = {account:String})
    )
SELECT
    $group AS name,
    any(u.account_id) AS account_id,
    sum(u.calls) AS calls,
    sum(u.refused) AS refused,
    sum(u.charge) AS charge_nano,
    sum(u.own) AS own_nano,
    sum(u.prompt) AS prompt_tokens,
    sum(u.completion) AS completion_tokens
FROM
(
    SELECT
        day, account_id, key_id, model, calls, toUInt64(0) AS refused, charge_nano AS charge,
        if(parent_id = {partner:String}, parent_charge_nano, 0) AS own, prompt_tokens AS prompt,
        completion_tokens AS completion
    FROM charges_daily
    WHERE account_id IN below AND day BETWEEN {first:Date} AND {last:Date}
    UNION ALL
    SELECT
        r.day, r.account_id, r.key_id, r.model, toUInt64(0) AS calls, r.calls AS refused, toInt64(0) AS charge,
        toInt64(0) AS own, toUInt64(0) AS prompt, toUInt64(0) AS completion
    FROM requests_daily AS r
    WHERE r.account_id IN below AND r.day BETWEEN {first:Date} AND {last:Date} AND r.status = 429
) AS u
WHERE {model:String} = '' OR u.model = {model:String}
GROUP BY name
ORDER BY $order
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
