//go:build !race

package sock

func beforeSend() {}

func afterReceive() {}
