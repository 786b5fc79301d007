//go:build race

package testkit

// UnderRace says that the race detector watches, and slows everything down.
const UnderRace = true
