-- How many charges rest on our own count because the provider sent none?
SELECT provider, basis, count() AS charges, round(100 * count() / sum(count()) OVER (PARTITION BY provider), 2) AS percent,
       sum(charge_nano) / 1e9 AS try
FROM charges
GROUP BY provider, basis
ORDER BY provider, charges DESC
