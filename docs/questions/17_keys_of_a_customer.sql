-- Which of a customer's keys spend the money?
SELECT key_id, sum(d.calls) AS calls, sum(d.charge_nano) / 1e9 AS spent, any(currency) AS currency, min(day) AS first_day, max(day) AS last_day
FROM charges_daily AS d
WHERE account_id = (SELECT account_id FROM charges_daily GROUP BY account_id ORDER BY sum(charge_nano) DESC LIMIT 1)
GROUP BY key_id
ORDER BY spent DESC
