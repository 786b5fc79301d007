//go:build !unix

package stdio

import "os"

// hungUp always reports false on this system.
func hungUp(*os.File) bool { return false }
