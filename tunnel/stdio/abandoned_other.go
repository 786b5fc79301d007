//go:build !unix

package stdio

import "os"

// hungUp cannot tell here.
func hungUp(*os.File) bool { return false }
