package resolve

// searchList is how a system completes short names.
type searchList struct {
	domains []string
	ndots   int // a name with that many dots is tried as it stands before it is completed
}
