package ul

import "slices"

// Negotiate returns the result for every proposed context of rq, in the same order (PS3.8 §9.3.3.2, Table 9-18). supported
// returns the transfer syntaxes accepted for an abstract syntax, the preferred one first, nil if it is not supported.
// Several contexts for one SOP class are negotiated independently: they may get different transfer syntaxes.
func Negotiate(rq *AssociateRQ, supported func(abstractSyntax string) []string) []ContextResult {
	results := make([]ContextResult, 0, len(rq.Contexts))
	for _, c := range rq.Contexts {
		results = append(results, negotiate(c, supported(c.AbstractSyntax)))
	}
	return results
}

func negotiate(c ProposedContext, ours []string) ContextResult {
	r := ContextResult{ID: c.ID}
	if len(ours) == 0 {
		r.Result = ContextAbstractUnsupported
	} else if i := slices.IndexFunc(ours, func(ts string) bool { return slices.Contains(c.TransferSyntaxes, ts) }); i >= 0 {
		r.TransferSyntax = ours[i]
		return r
	} else {
		r.Result = ContextTransferUnsupported
	}
	// The field is required but not significant here; every peer accepts the default syntax (PS3.5 §10.1).
	r.TransferSyntax = "1.2.840.10008.1.2"
	return r
}

// AnswerRoles answers role selection (PS3.7 §D.3.3.4). The requestor may be SCU wherever it proposed that, and SCP of the SOP
// classes for which scp returns true. Role items without a proposed context get no answer.
func AnswerRoles(rq *AssociateRQ, scp func(sopClass string) bool) []Role {
	var roles []Role
	for _, r := range rq.User.Roles {
		proposed := slices.ContainsFunc(rq.Contexts, func(c ProposedContext) bool { return c.AbstractSyntax == r.SOPClass })
		answered := slices.ContainsFunc(roles, func(o Role) bool { return o.SOPClass == r.SOPClass })
		if proposed && !answered {
			roles = append(roles, Role{SOPClass: r.SOPClass, SCU: r.SCU, SCP: r.SCP && scp(r.SOPClass)})
		}
	}
	return roles
}
