package tunnel

import (
	"testing"

	"culvert/tunnel/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m, idleDescriptors, closeTestLoops) }
