package pac

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sortAddrs puts IPv6 first.
func sortAddrs(addrs []netip.Addr) {
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		if a.BitLen() != b.BitLen() {
			return b.BitLen() - a.BitLen()
		}
		return a.Compare(b)
	})
}

const (
	weekdays = "SUN MON TUE WED THU FRI SAT"
	months   = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
)

// index is a name's place in a list, from 0, or -1. Case counts.
func index(list, name string) int {
	return slices.Index(strings.Fields(list), name)
}

// clock takes a trailing "GMT" off the arguments, and tells the time it means.
func clock(now time.Time, args []string) (time.Time, []string) {
	if n := len(args); n > 0 && args[n-1] == "GMT" {
		return now.UTC(), args[:n-1]
	}
	return now, args
}

// between reports whether at is in a range whose ends belong to it, and which
// goes round if its start is behind its end.
func between(at, from, to int) bool {
	if from <= to {
		return from <= at && at <= to
	}
	return at >= from || at <= to
}

// weekdayRange is true on one day, or from one to another round the week.
func weekdayRange(now time.Time, args []string) bool {
	now, args = clock(now, args)
	if len(args) < 1 || len(args) > 2 {
		return false
	}
	from, to := index(weekdays, args[0]), index(weekdays, args[len(args)-1])
	return from >= 0 && to >= 0 && between(int(now.Weekday()), from, to)
}

// day is a date of which some parts are given: 0 = not. A month is 1 to 12.
type day struct{ year, month, day int }

// set takes one argument: a month's name, a day of up to 31, or else a year. It
// reports whether it is one, and not the second of its kind.
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

// parseDay reads a date's parts in any order.
func parseDay(args []string) (d day, ok bool) {
	for _, arg := range args {
		if !d.set(arg) {
			return d, false
		}
	}
	return d, len(args) > 0
}

// kinds tells which parts are given.
func (d day) kinds() [3]bool { return [3]bool{d.year != 0, d.month != 0, d.day != 0} }

// dateRange is true on a date, or from one to another, the same parts of a date
// being given for both: days of every month, months of every year, years, days
// of months, months of years, or all three. Ranges without a year go round.
//
// A day with its month, and with its year, are taken for that one date; the
// browsers read something odd into three arguments, and nobody documents two
// that differ.
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

// among is a date as one number, of the parts that another has.
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

// errTimeRange is thrown at a script, as the browsers do.
var errTimeRange = errors.New("timeRange: bad number of arguments")

// timeRange is true in one hour; from one hour to the end of another, which
// does not go round midnight; or from hour and minute to the end of another
// minute, or to a second, which do.
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
