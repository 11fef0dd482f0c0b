-- Who is about to run dry, at the pace of the last seven days?
WITH (SELECT max(day) FROM charges_daily) AS today
SELECT b.account_id, b.kind, b.currency, round(b.balance_nano / 1e9, 2) AS balance, round(u.daily / 1e9, 2) AS per_day,
       round(b.balance_nano / u.daily, 1) AS days_left
FROM balances AS b
INNER JOIN
(
    SELECT account_id, sum(nano) / 7 AS daily
    FROM
    (
        SELECT account_id, charge_nano AS nano FROM charges_daily WHERE day > today - 7
        UNION ALL
        SELECT parent_id, parent_charge_nano FROM charges_daily WHERE day > today - 7 AND parent_currency != ''
    )
    GROUP BY account_id
) AS u ON u.account_id = b.account_id
WHERE u.daily > 0 AND b.balance_nano > 0
ORDER BY days_left
LIMIT 10
