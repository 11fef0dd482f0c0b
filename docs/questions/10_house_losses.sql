-- What did the house lose to charges that no balance covered?
SELECT day, currency, sum(d.shortfall_nano) / 1e9 AS not_covered, sum(d.parent_shortfall_nano) / 1e9 AS not_covered_by_partners,
       round(1e6 * sum(d.shortfall_nano) / nullIf(sum(d.charge_nano), 0), 1) AS millionths_of_turnover
FROM charges_daily AS d
GROUP BY day, currency
ORDER BY day DESC
LIMIT 10
