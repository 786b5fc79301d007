//go:build race

package testkit

// UnderRace says whether the race detector is on, which makes everything slower.
const UnderRace = true
