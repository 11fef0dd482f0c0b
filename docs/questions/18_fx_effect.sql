-- What did the exchange rate do to the turnover?
SELECT d.day AS day, round(f.rate, 4) AS try_per_usd, round(d.cost_usd, 2) AS cost_usd, round(d.turnover, 2) AS turnover_try,
       round(d.turnover / d.cost_usd, 3) AS try_per_usd_of_cost
FROM
(
    SELECT day, sum(provider_cost_nano) / 1e9 AS cost_usd, sum(charge_nano) / 1e9 AS turnover
    FROM charges_daily
    WHERE currency = 'TRY'
    GROUP BY day
) AS d
LEFT JOIN
(
    SELECT toDate(time, 'Europe/Istanbul') AS day, avg(rate_nano) / 1e9 AS rate
    FROM fx_rates
    WHERE base = 'USD' AND quote = 'TRY'
    GROUP BY day
) AS f ON f.day = d.day
ORDER BY day DESC
LIMIT 10
