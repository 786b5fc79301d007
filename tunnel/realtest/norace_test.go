//go:build !race

package realtest

const raceDetector = false
