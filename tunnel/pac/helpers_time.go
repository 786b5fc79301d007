package pac

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	weekdays = "SUN MON TUE WED THU FRI SAT"
	months   = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
)

// index returns the index of a name in a list, or -1. Case matters.
func index(list, name string) int {
	return slices.Index(strings.Fields(list), name)
}

// clock returns the arguments without a trailing "GMT", and the time in the zone that
// they are for.
func clock(now time.Time, args []string) (time.Time, []string) {
	if n := len(args); n > 0 && args[n-1] == "GMT" {
		return now.UTC(), args[:n-1]
	}
	return now, args
}

// between reports whether at is in the range of from to to, both included. The range
// wraps around if from is after to.
func between(at, from, to int) bool {
	if from <= to {
		return from <= at && at <= to
	}
	return at >= from || at <= to
}

// weekdayRange reports whether now is on one day of the week, or in a range of days that
// may wrap around.
func weekdayRange(now time.Time, args []string) bool {
	now, args = clock(now, args)
	if len(args) < 1 || len(args) > 2 {
		return false
	}
	from, to := index(weekdays, args[0]), index(weekdays, args[len(args)-1])
	return from >= 0 && to >= 0 && between(int(now.Weekday()), from, to)
}

// day is a date of which some parts are given; the others are 0. A month is 1 to 12.
type day struct{ year, month, day int }

// set sets the part for one argument: the name of a month, a day up to 31, or else a
// year. It returns false if arg is none of them, or the part is set already.
func (d *day) set(arg string) bool {
	part := &d.month
	n := index(months, arg) + 1
	if n == 0 {
		var err error
		if n, err = strconv.Atoi(arg); err != nil || n < 1 || n > math.MaxInt16 {
			return false
		}
		if part = &d.year; n < 32 {
			part = &d.day
		}
	}
	if *part != 0 {
		return false
	}
	*part = n
	return true
}

// parseDay parses the parts of a date in any order.
func parseDay(args []string) (d day, ok bool) {
	for _, arg := range args {
		if !d.set(arg) {
			return d, false
		}
	}
	return d, len(args) > 0
}

// kinds reports which parts are given.
func (d day) kinds() [3]bool { return [3]bool{d.year != 0, d.month != 0, d.day != 0} }

// dateRange reports whether now is on a date, or in a range of dates. Both dates of a
// range have the same parts: a day (of every month), a month (of every year), a year, a
// day and a month, a month and a year, or all three. Ranges without a year may wrap
// around.
//
// Two or three arguments of different kinds are one date. Browsers interpret three
// arguments oddly, and two of different kinds are not documented anywhere.
func dateRange(now time.Time, args []string) bool {
	now, args = clock(now, args)
	today := day{now.Year(), int(now.Month()), now.Day()}
	if one, ok := parseDay(args); ok {
		return (one.year == 0 || one.year == today.year) && (one.month == 0 || one.month == today.month) && (one.day == 0 || one.day == today.day)
	}
	if len(args)%2 != 0 {
		return false
	}
	from, ok1 := parseDay(args[:len(args)/2])
	to, ok2 := parseDay(args[len(args)/2:])
	if !ok1 || !ok2 || from.kinds() != to.kinds() {
		return false
	}
	at, start, end := today.among(from), from.among(from), to.among(from)
	if from.year != 0 && start > end {
		return false
	}
	return between(at, start, end)
}

// among returns a date as one number that is made of the parts that with has.
func (d day) among(with day) int {
	n := 0
	if with.year != 0 {
		n = d.year
	}
	n *= 100
	if with.month != 0 {
		n += d.month
	}
	n *= 100
	if with.day != 0 {
		n += d.day
	}
	return n
}

// errTimeRange is thrown in the script, as in browsers.
var errTimeRange = errors.New("timeRange: bad number of arguments")

// timeRange reports whether now is in one hour; in a range of hours, up to the end of the
// last, which does not wrap around midnight; in a range of minutes, up to the end of the
// last; or in a range of seconds. The latter two wrap around.
func timeRange(now time.Time, args []string) (bool, error) {
	if len(args) == 0 {
		return false, nil
	}
	now, args = clock(now, args)
	n := make([]int, len(args))
	for i, arg := range args {
		v, err := strconv.Atoi(arg)
		if err != nil || v < 0 || v > 60 {
			return false, nil
		}
		n[i] = v
	}
	second := func(h, m, s int) int { return h*3600 + m*60 + s }
	at := second(now.Hour(), now.Minute(), now.Second())
	switch len(n) {
	case 1:
		return now.Hour() == n[0], nil
	case 2:
		return n[0] <= now.Hour() && now.Hour() <= n[1], nil
	case 4:
		return between(at, second(n[0], n[1], 0), second(n[2], n[3], 59)), nil
	case 6:
		return between(at, second(n[0], n[1], n[2]), second(n[3], n[4], n[5])), nil
	}
	return false, errTimeRange
}
