package page

// Causes returns the causes in the tables.
func Causes() (all []Cause) {
	for _, c := range squidCauses {
		all = append(all, c)
	}
	for _, w := range knownWords {
		all = append(all, w.cause)
	}
	return all
}
