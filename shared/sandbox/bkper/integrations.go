package bkper

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

func (s *Service) person(who Caller) User { return s.users[fold(who.Email)] }

// visible reports whether a person sees an app: it is published, or they are among its users, developers or its owner.
func visible(a *App, email string) bool {
	if True(a.Published) || fold(a.OwnerEmail) == fold(email) {
		return true
	}
	user, domain, _ := strings.Cut(fold(email), "@")
	names := strings.FieldsFunc(a.Users+" "+a.Developers, func(r rune) bool { return r == ' ' || r == ',' })
	return slices.ContainsFunc(names, func(n string) bool {
		n = fold(n)
		return n == user || n == fold(email) || n == "*@"+domain
	})
}

// Apps lists the apps and bots that the caller sees; a deprecated one is not listed.
func (s *Service) Apps(who Caller) (List[App], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l List[App]
	for _, a := range sorted(s.apps) {
		if visible(a, who.Email) && !True(a.Deprecated) {
			l.Items = append(l.Items, viewApp(a, who))
		}
	}
	return l, nil
}

// viewApp keeps an app's secret to its owner.
func viewApp(a *App, who Caller) App {
	v := *a
	if fold(a.OwnerEmail) != fold(who.Email) {
		v.ClientSecret = ""
	}
	return v
}

func noApp(id string) error { return notFound("App NOT found! ID: %s", id) }

// App reads one app.
func (s *Service) App(who Caller, id string) (App, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[id]
	if a == nil || !visible(a, who.Email) {
		return App{}, noApp(id)
	}
	return viewApp(a, who), nil
}

// PutApp registers an app, or changes the one that the caller owns under the id.
func (s *Service) PutApp(who Caller, in App, create bool) (App, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.apps[in.ID]
	switch {
	case in.ID == "" || Normalize(in.Name) == "":
		return App{}, invalid("An app needs an id and a name")
	case create && old != nil:
		return App{}, invalid("App [%s] already exists", in.ID)
	case !create && (old == nil || fold(old.OwnerEmail) != fold(who.Email)):
		return App{}, noApp(in.ID)
	}
	in.OwnerEmail, in.OwnerID = who.Email, s.person(who).ID
	in.OwnerName = cmp.Or(in.OwnerName, s.person(who).Name)
	s.apps[in.ID] = &in
	return in, s.save(appSpace, in.ID, in)
}

// InstalledApps lists the apps installed on a Book.
func (s *Service) InstalledApps(who Caller, bookID string) (List[App], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, enters)
	if err != nil {
		return List[App]{}, err
	}
	var l List[App]
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		if b.installed(id) != nil {
			l.Items = append(l.Items, viewApp(s.apps[id], who))
		}
	}
	return l, nil
}

// installed returns the integration by which an app is installed, or nil.
func (b *book) installed(agentID string) *Integration {
	for _, i := range b.integrations {
		if i.AgentID == agentID && i.ConnectionID == "" {
			return i
		}
	}
	return nil
}

// Integrations lists the integrations of a Book.
func (s *Service) Integrations(who Caller, bookID string) (List[Integration], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, enters)
	if err != nil {
		return List[Integration]{}, err
	}
	var l List[Integration]
	for _, i := range sorted(b.integrations) {
		l.Items = append(l.Items, *i)
	}
	return l, nil
}

// CreateIntegration integrates a Book with an app (no connection: this is how an app is installed; doing it again
// changes nothing) or with one of the caller's Connections.
func (s *Service) CreateIntegration(who Caller, bookID string, in Integration) (Integration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, enters)
	if err == nil {
		err = s.allowConnect(b, who)
	}
	if err != nil {
		return Integration{}, err
	}
	if in.ConnectionID != "" {
		c := s.connections[in.ConnectionID]
		if c == nil || fold(c.Email) != fold(who.Email) {
			return Integration{}, noConnection(in.ConnectionID)
		}
		in.AgentID, in.Name = cmp.Or(in.AgentID, c.AgentID), cmp.Or(in.Name, c.Name)
	} else if app := s.apps[in.AgentID]; app == nil || !visible(app, who.Email) {
		return Integration{}, noApp(in.AgentID)
	} else if i := b.installed(in.AgentID); i != nil {
		return *i, nil
	} else {
		in.Name, in.Logo, in.LogoDark = cmp.Or(in.Name, app.Name), app.LogoURL, app.LogoURLDark
	}
	now := stamp(s.millis())
	in.ID, in.BookID, in.AddedBy, in.UserID = s.id(), b.ID, s.person(who).Name, s.person(who).ID
	in.CreatedAt, in.DateAddedMs, in.NormalizedName = now, now, Normalize(in.Name)
	return s.keepIntegration(who, b, in, nil, "INTEGRATION_CREATED")
}

func (s *Service) keepIntegration(who Caller, b *book, in Integration, before map[string]string, kind string) (Integration, error) {
	var err error
	if in.Properties, err = merge(before, in.Properties); err != nil {
		return Integration{}, err
	}
	in.UpdatedAt = stamp(s.millis())
	in.LastUpdateMs = in.UpdatedAt
	b.integrations[in.ID] = &in
	b.event(s, who, kind, in.ID)
	return in, s.save(integrationSpace, b.ID+"/"+in.ID, in)
}

func noIntegration(id string) error { return notFound("Integration NOT found! ID: %s", id) }

// UpdateIntegration changes name and properties.
func (s *Service) UpdateIntegration(who Caller, bookID string, in Integration) (Integration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, enters)
	if err == nil {
		err = s.allowConnect(b, who)
	}
	if err != nil {
		return Integration{}, err
	}
	old := b.integrations[in.ID]
	if old == nil {
		return Integration{}, noIntegration(in.ID)
	}
	i := *old
	i.Name = cmp.Or(in.Name, i.Name)
	i.NormalizedName, i.Properties = Normalize(i.Name), in.Properties
	return s.keepIntegration(who, b, i, old.Properties, "INTEGRATION_UPDATED")
}

// DeleteIntegration ends an integration; for an app, this uninstalls it.
func (s *Service) DeleteIntegration(who Caller, bookID, id string) (Integration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.enter(who, bookID, enters)
	if err == nil {
		err = s.allowConnect(b, who)
	}
	if err != nil {
		return Integration{}, err
	}
	i := b.integrations[id]
	if i == nil {
		return Integration{}, noIntegration(id)
	}
	return *i, s.dropIntegration(who, b, id)
}

func (s *Service) dropIntegration(who Caller, b *book, id string) error {
	delete(b.integrations, id)
	b.event(s, who, "INTEGRATION_DELETED", id)
	return s.save(integrationSpace, b.ID+"/"+id, nil)
}

func noConnection(id string) error { return notFound("Connection NOT found! ID: %s", id) }

// connection finds one of the caller's own; another's is as if there were none.
func (s *Service) connection(who Caller, id string) (*Connection, error) {
	c := s.connections[id]
	if c == nil || fold(c.Email) != fold(who.Email) {
		return nil, noConnection(id)
	}
	return c, nil
}

// Connections lists the caller's own Connections.
func (s *Service) Connections(who Caller) (List[Connection], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l List[Connection]
	for _, c := range sorted(s.connections) {
		if fold(c.Email) == fold(who.Email) {
			l.Items = append(l.Items, *c)
		}
	}
	return l, nil
}

// Connection reads one of the caller's own Connections.
func (s *Service) Connection(who Caller, id string) (Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.connection(who, id)
	if err != nil {
		return Connection{}, err
	}
	return *c, nil
}

// CreateConnection makes a Connection of the caller.
func (s *Service) CreateConnection(who Caller, in Connection) (Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stamp(s.millis())
	in.ID, in.Email, in.UserID, in.CreatedAt, in.DateAddedMs = s.id(), who.Email, s.person(who).ID, now, now
	return s.keepConnection(in, nil)
}

func (s *Service) keepConnection(c Connection, before map[string]string) (Connection, error) {
	if Normalize(c.Name) == "" || !slices.Contains([]string{"APP", "BANK"}, c.Type) {
		return Connection{}, invalid("A connection needs a name and type APP or BANK")
	}
	var err error
	if c.Properties, err = merge(before, c.Properties); err != nil {
		return Connection{}, err
	}
	c.UpdatedAt = stamp(s.millis())
	s.connections[c.ID] = &c
	return c, s.save(connectionSpace, c.ID, c)
}

// UpdateConnection changes what is said of one of the caller's own Connections.
func (s *Service) UpdateConnection(who Caller, in Connection) (Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.connection(who, in.ID)
	if err != nil {
		return Connection{}, err
	}
	c := *old
	c.AgentID, c.Name, c.Type = cmp.Or(in.AgentID, c.AgentID), cmp.Or(in.Name, c.Name), cmp.Or(in.Type, c.Type)
	c.UUID, c.Logo, c.Properties = cmp.Or(in.UUID, c.UUID), cmp.Or(in.Logo, c.Logo), in.Properties
	return s.keepConnection(c, old.Properties)
}

// DeleteConnection deletes one of the caller's own Connections and the integrations that hang on it.
func (s *Service) DeleteConnection(who Caller, id string) (Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.connection(who, id)
	if err != nil {
		return Connection{}, err
	}
	for _, b := range s.books {
		for _, i := range sorted(b.integrations) {
			if i.ConnectionID == id {
				if err := s.dropIntegration(who, b, i.ID); err != nil {
					return Connection{}, err
				}
			}
		}
	}
	delete(s.connections, id)
	return *c, s.save(connectionSpace, id, nil)
}

// ConnectionIntegrations lists the integrations of one of the caller's own Connections on all Books.
func (s *Service) ConnectionIntegrations(who Caller, id string) (List[Integration], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l List[Integration]
	if _, err := s.connection(who, id); err != nil {
		return l, err
	}
	for _, b := range sorted(s.books) {
		for _, i := range sorted(b.integrations) {
			if i.ConnectionID == id {
				l.Items = append(l.Items, *i)
			}
		}
	}
	return l, nil
}
