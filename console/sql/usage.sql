-- What an account used, by $group. Money is in nano-units of its currency.
SELECT
    $group AS name,
    sum(calls) AS calls,
    sum(charge_nano) AS charge_nano,
    sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM charges_daily
WHERE account_id = {account:String} AND day BETWEEN {first:Date} AND {last:Date}
GROUP BY name
ORDER BY $order
LIMIT 5000
