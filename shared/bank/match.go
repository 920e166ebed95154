package bank

import "strings"

// Match follows accounts when the bank names them anew: an account keeps its key where the id is the same, else where the
// provider's persistent id is, else where type, mask, name and currency are and no second account is like it. Accounts that
// the bank no longer names stay, as Gone. It returns the keys of accounts whose id has changed, or which were gone and are back.
func Match(old []LinkedAccount, now []Account) (accounts []LinkedAccount, moved []string) {
	old = once(old, func(a LinkedAccount) string { return a.Key })
	now = once(now, func(a Account) string { return a.ID })
	keyed := make([]string, len(now))
	taken := map[string]bool{}
	assign := func(same func(LinkedAccount, Account) bool, unique bool) {
		for i, a := range now {
			if keyed[i] != "" {
				continue
			}
			key, twins := "", 0
			for _, o := range old {
				if !taken[o.Key] && same(o, a) {
					key = o.Key
					twins++
				}
			}
			for k, b := range now { // a second new account that is like the old one leaves it in doubt
				if unique && k != i && keyed[k] == "" && key != "" && Alike(a, b) {
					twins++
				}
			}
			if key != "" && (twins == 1 || !unique) {
				keyed[i] = key
				taken[key] = true
			}
		}
	}
	assign(func(o LinkedAccount, a Account) bool { return o.ID == a.ID }, false)
	assign(func(o LinkedAccount, a Account) bool { return a.Persistent != "" && o.Persistent == a.Persistent }, true)
	assign(func(o LinkedAccount, a Account) bool { return Alike(o.Account, a) }, true)

	byKey := map[string]Account{}
	for i, a := range now {
		if keyed[i] != "" {
			byKey[keyed[i]] = a
		}
	}
	for _, o := range old {
		a, here := byKey[o.Key]
		if !here {
			o.Gone = true
			accounts = append(accounts, o)
			continue
		}
		if a.ID != o.ID || o.Gone {
			moved = append(moved, o.Key)
		}
		accounts = append(accounts, LinkedAccount{Key: o.Key, Account: a})
	}
	for i, a := range now {
		if keyed[i] == "" {
			accounts = append(accounts, LinkedAccount{Key: a.ID, Account: a})
		}
	}
	return accounts, moved
}

// once leaves out what has been named before: a bank may list an account twice, and its rows would be recorded twice.
func once[T any](all []T, name func(T) string) (each []T) {
	named := map[string]bool{}
	for _, one := range all {
		if !named[name(one)] {
			named[name(one)] = true
			each = append(each, one)
		}
	}
	return each
}

// Alike reports whether two accounts of one institution look like the same one.
func Alike(a, b Account) bool {
	if a.Persistent != "" && b.Persistent != "" && a.Persistent != b.Persistent {
		return false
	}
	return a.Mask != "" && a.Type == b.Type && a.Mask == b.Mask && a.Currency == b.Currency && strings.EqualFold(strings.TrimSpace(a.Name), strings.TrimSpace(b.Name))
}
