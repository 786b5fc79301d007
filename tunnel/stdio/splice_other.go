//go:build !linux

package stdio

// spliceUp reports false: this system copies.
func (r *relaying) spliceUp() (done bool) { return false }

// spliceDown reports false: this system copies.
func (r *relaying) spliceDown() (over bool, err error) { return false, nil }
