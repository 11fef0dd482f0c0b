-- How many charges rest on our own count because the provider sent none?
SELECT provider, basis, currency, count() AS charges,
       round(100 * count() / sum(count()) OVER (PARTITION BY provider, currency), 2) AS percent, sum(charge_nano) / 1e9 AS charged
FROM charges
GROUP BY provider, basis, currency
ORDER BY provider, currency, charges DESC
