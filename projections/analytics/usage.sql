SELECT
    $group AS grouped,
    d.currency,
    sum(d.charge_nano),
    sum(d.calls),
    sum(d.prompt_tokens),
    sum(d.completion_tokens),
    sum(d.cached_tokens),
    sum(d.reasoning_tokens)
FROM charges_daily AS d
WHERE account_id = {account:String} AND day BETWEEN toDate({first:String}) AND toDate({last:String})
GROUP BY grouped, d.currency
ORDER BY grouped
LIMIT 10000
