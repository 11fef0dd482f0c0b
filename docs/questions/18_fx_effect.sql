-- What did the exchange rate do to the turnover?
SELECT toDate(time, 'Europe/Istanbul') AS day, round(avg(fx_rate_nano) / 1e9, 4) AS try_per_usd, sum(provider_cost_nano) / 1e9 AS cost_usd,
       sum(charge_nano) / 1e9 AS turnover_try, round(turnover_try / cost_usd, 3) AS try_per_cost_usd
FROM charges
WHERE currency = 'TRY'
GROUP BY day
ORDER BY day DESC
LIMIT 10
