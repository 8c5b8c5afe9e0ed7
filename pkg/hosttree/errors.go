package hosttree

import (
	"errors"
	"fmt"
)

// mostErrors is how many failures of a walk are told.
const mostErrors = 5

// Errors collects what fails while a tree is worked on: the first few failures and the number of the others. ErrMounted is
// always among those that are told.
type Errors struct {
	told   []error
	others int
}

// Add takes another failure; nil is none.
func (e *Errors) Add(err error) {
	switch {
	case err == nil:
	case len(e.told) < mostErrors:
		e.told = append(e.told, err)
	case errors.Is(err, ErrMounted) && !errors.Is(errors.Join(e.told...), ErrMounted):
		e.told[mostErrors-1] = err
		e.others++
	default:
		e.others++
	}
}

func (e *Errors) count() int { return len(e.told) + e.others }

// Err joins the failures; nil when there are none.
func (e *Errors) Err() error {
	if e.others > 0 {
		return fmt.Errorf("%w\nand %d more", errors.Join(e.told...), e.others)
	}
	return errors.Join(e.told...)
}
