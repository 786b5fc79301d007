//go:build !race

package testkit

// UnderRace reports whether the race detector is on, which slows everything down.
const UnderRace = false
