package main

import (
	"errors"
	"fmt"
	"strings"

	"ichor/reporting/web"
)

func letters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

// chosenLetters sorts the arguments into letters and groups, and counts the dead letters that they mean. Without any it means all
// deliveries.
func chosenLetters(s *settings, args []string, destination string) (chosen web.Selection, count int, err error) {
	n, err := running(s)
	if err != nil {
		return chosen, 0, err
	}
	var list []web.DeadLetter
	if err := n.get("dead-letters", &list); err != nil {
		return chosen, 0, err
	}
	chosen.Destination = destination
	for _, a := range args {
		if strings.HasPrefix(a, "g") {
			chosen.Groups = append(chosen.Groups, a)
		} else {
			chosen.IDs = append(chosen.IDs, a)
		}
	}
	if len(chosen.IDs) > 0 && (len(chosen.Groups) > 0 || destination != "") {
		return chosen, 0, usageError("name letters or groups, not both")
	}
	if count = len(chosen.IDs); count > 0 {
		return chosen, count, nil
	}
	for _, l := range list {
		in := len(chosen.Groups) == 0 && l.Kind == "delivery"
		for _, g := range chosen.Groups {
			in = in || l.Group == g
		}
		if in && (destination == "" || l.Destination == destination) {
			count++
		}
	}
	if count == 0 && len(chosen.Groups) > 0 {
		return chosen, 0, errors.New("there is no such group of dead letters; 'ichor dead-letters' lists them")
	}
	return chosen, count, nil
}
