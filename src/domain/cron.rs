//! When something is due by a schedule of five fields (minute, hour, day of month, month, day of week), in UTC. As in every cron:
//! where both days are narrowed, either of them is enough.

use super::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("needs five fields (minute, hour, day of month, month, day of week), like \"0 2 * * *\"")]
    Fields,
    #[error("has {0:?} where a number from {1} to {2}, a range, a list, * or */n belongs")]
    Field(String, u32, u32),
}

impl Cron {
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(CronError::Fields) };
        // Sunday is 0, and 7 for those who begin with Monday.
        let weekdays = field(weekday, 0, 7)?;
        Ok(Self {
            text: text.trim().to_owned(),
            minutes: field(minute, 0, 59)?,
            hours: field(hour, 0, 23)?,
            days: field(day, 1, 31)?,
            months: field(month, 1, 12)?,
            weekdays: weekdays | (weekdays >> 7 & 1),
            any_day: day == "*",
            any_weekday: weekday == "*",
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last time it was due within (after, until].
    pub fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        const MINUTE: i64 = 60;
        let mut at = until.seconds().div_euclid(MINUTE) * MINUTE;
        // A year and a day back at most: a schedule that never comes (30 February) must end the search.
        let oldest = after.seconds().max(until.seconds() - 367 * 86_400);
        while at > oldest {
            if self.is_due(at) {
                return Some(Timestamp::from_seconds(at));
            }
            // Whole days and hours that cannot be are passed by at once.
            at -= if !self.is_day(at) {
                at.rem_euclid(86_400) + MINUTE
            } else if !has(self.hours, at.rem_euclid(86_400) / 3_600) {
                at.rem_euclid(3_600) + MINUTE
            } else {
                MINUTE
            };
        }
        None
    }

    fn is_due(&self, at: i64) -> bool {
        let of_day = at.rem_euclid(86_400);
        has(self.minutes, of_day / 60 % 60) && has(self.hours, of_day / 3_600) && self.is_day(at)
    }

    fn is_day(&self, at: i64) -> bool {
        let day = at.div_euclid(86_400);
        let (month, of_month) = date(day);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let (by_day, by_weekday) = (has(self.days, of_month), has(self.weekdays, weekday));
        let fits = if self.any_day || self.any_weekday { by_day && by_weekday } else { by_day || by_weekday };
        fits && has(self.months, month)
    }
}

fn has(set: u64, number: i64) -> bool {
    u32::try_from(number).is_ok_and(|number| number < 64 && set >> number & 1 == 1)
}

fn field(text: &str, least: u32, most: u32) -> Result<u64, CronError> {
    let wrong = || CronError::Field(text.to_owned(), least, most);
    let mut set = 0_u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| (least..=most).contains(n)).ok_or_else(wrong);
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) => (number(one)?, if part.contains('/') { most } else { number(one)? }),
        };
        if from > to {
            return Err(wrong());
        }
        set = (from..=to).step_by(step as usize).fold(set, |set, n| set | 1 << n);
    }
    Ok(set)
}

/// Month and day of month of a day since 1970 (the civil calendar, by Howard Hinnant's algorithm).
fn date(day: i64) -> (i64, i64) {
    let z = day + 719_468;
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    (if shifted < 10 { shifted + 3 } else { shifted - 9 }, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(cron: &str, after: &str, until: &str) -> Option<String> {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        Cron::parse(cron).unwrap().last_between(at(after), at(until)).map(|at| at.to_string().chars().take(16).collect())
    }

    #[test]
    fn the_newest_time_due_is_found() {
        let cases = [
            ("0 2 * * *", "2026-01-09T00:00:00Z", "2026-01-09T10:30:00Z", Some("2026-01-09T02:00")),
            ("0 */6 * * *", "2026-01-09T00:00:00Z", "2026-01-09T23:59:59Z", Some("2026-01-09T18:00")),
            ("0 */6 * * *", "2026-01-09T18:00:00Z", "2026-01-09T23:59:59Z", None),
            ("*/15 9-17 * * 1-5", "2026-01-01T00:00:00Z", "2026-01-11T12:00:00Z", Some("2026-01-09T17:45")),
            ("30 4 29 2 *", "2024-01-01T00:00:00Z", "2024-12-31T00:00:00Z", Some("2024-02-29T04:30")),
            ("0 0 31 * 0", "2026-01-20T00:00:00Z", "2026-01-26T00:00:00Z", Some("2026-01-25T00:00")),
            ("0 0 1 1 7", "2026-01-20T00:00:00Z", "2026-02-02T00:00:00Z", Some("2026-01-25T00:00")),
            ("0 0 30 2 *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None),
        ];
        for (cron, after, until, wanted) in cases {
            assert_eq!(last(cron, after, until).as_deref(), wanted, "{cron} in ({after}, {until}]");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in
            ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "5-1 * * * *", "*/0 * * * *", "a * * * *"]
        {
            assert!(Cron::parse(bad).is_err(), "{bad:?}");
        }
    }
}
