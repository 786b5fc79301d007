package relay

import (
	"testing"

	"culvert/tunnel/internal/leak"
	"culvert/tunnel/internal/sock"
)

func TestMain(m *testing.M) { leak.Main(m, sock.IdleDescriptors, closeTestLoops) }
