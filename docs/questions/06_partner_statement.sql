-- What did a partner's customers use in the month of the last whole day, at retail and at the partner's price?
SELECT account_id AS customer, model, sum(d.calls) AS calls, sum(d.prompt_tokens + d.completion_tokens) AS tokens,
       sum(d.charge_nano) / 1e9 AS retail_try, sum(d.parent_charge_nano) / 1e9 AS partner_usd
FROM charges_daily AS d
WHERE parent_id = (SELECT parent_id FROM charges_daily WHERE parent_id != '' GROUP BY parent_id ORDER BY sum(calls) DESC LIMIT 1)
  AND toStartOfMonth(day) = (SELECT toStartOfMonth(max(day) - 1) FROM charges_daily)
GROUP BY customer, model
ORDER BY partner_usd DESC
LIMIT 10
