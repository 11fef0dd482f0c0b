-- What an account paid for its own calls, and as a partner for its customers', on each day. Nano-units.
SELECT toString(day) AS name, sum(nano) AS charge_nano, sum(count) AS calls
FROM
(
    SELECT day, sum(charge_nano) AS nano, sum(calls) AS count
    FROM charges_daily WHERE account_id = {account:String} AND day BETWEEN {first:Date} AND {last:Date} GROUP BY day
    UNION ALL
    SELECT day, sum(parent_charge_nano) AS nano, sum(calls) AS count
    FROM charges_daily
    WHERE parent_id = {account:String} AND parent_currency != '' AND day BETWEEN {first:Date} AND {last:Date}
    GROUP BY day
)
GROUP BY name
ORDER BY name
