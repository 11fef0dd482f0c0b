-- Are new customers coming, and do they stay?
SELECT toMonday(first_day) AS week, count() AS new_accounts, countIf(days > 1) AS came_back, round(avg(days), 1) AS active_days,
       round(sum(spent) / 1e9, 2) AS spent_try
FROM
(
    SELECT account_id, min(day) AS first_day, uniqExact(day) AS days, sumIf(charge_nano, currency = 'TRY') AS spent
    FROM charges_daily
    GROUP BY account_id
)
GROUP BY week
ORDER BY week
