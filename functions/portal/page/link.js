// Link Account: where a bank account's transactions go, and from when on. The same dialog changes an integration.

import { h } from './dom.js';
import { ago, compare, day, moment, t } from './text.js';
import { loginURL, post } from './api.js';
import { act, change, connectionOf, historyOf, hurry, linkOf, loadBook, loadIntegrations, note, openBook, state } from './state.js';
import { button, combobox, dialog, explain, field, fits, meter, notice, refusal, say } from './ui.js';

const thing = 'link';
const kept = 'link'; // in the session's storage, while the person is away to give a consent

const pad = (n) => String(n).padStart(2, '0');
const dateOf = (d) => `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
const back = (days) => { const d = new Date(); d.setDate(d.getDate() - days); return dateOf(d); };
const months = (n) => { const d = new Date(); d.setMonth(d.getMonth() - n); return dateOf(d); };

const periods = {
  today: () => dateOf(new Date()),
  days30: () => back(30),
  days90: () => back(90),
  year: () => `${new Date().getFullYear()}-01-01`,
  months12: () => months(12),
  months24: () => months(24),
};

const typeOf = (account) => (account.type === 'deposit' ? 'ASSET' : 'LIABILITY');

// open begins the dialog for a bank account of a connection; integration is what stands already.
export function open(connection, account, integration) {
  const existing = integration && state.book.accounts?.find((a) => a.id === integration.account);
  change({
    dialog: {
      kind: 'link', connection, account, integration,
      typed: existing?.name ?? integration?.account_name ?? proposal(connection, account), touched: false,
      to: existing ? { account: existing.id } : integration ? {} : proposed(connection, account),
      list: false, active: 0,
      period: integration ? 'date' : 'days90', date: integration?.from ?? back(90),
      pending: integration?.pending ?? false, replaces: undefined, insist: false,
    },
    notes: { ...state.notes, [thing]: undefined },
  });
}

// close gives the focus back to where it came from, which the dialog element does by itself.
const close = () => change({ dialog: null });

const proposal = (connection, account) => [connection.institution, account.name].join(' ').slice(0, 100);

const usable = () => (state.book.accounts ?? []).filter((a) => !a.archived && ['ASSET', 'LIABILITY'].includes(a.type)).sort((a, b) => compare(a.name, b.name));

// proposed is the Account that bears the bank account's name already, or a new one.
function proposed(connection, account) {
  const name = proposal(connection, account);
  const found = usable().find((a) => compare(a.name, name) === 0);
  return found ? { account: found.id } : { create: name };
}

export function linking() {
  const d = state.dialog;
  const busy = Boolean(state.busy[thing]);
  const set = (changes) => change({ dialog: { ...state.dialog, ...changes } });
  const from = d.period === 'date' ? d.date : periods[d.period]();
  return dialog({ key: 'link', title: t(d.integration ? 'link.change' : 'link.title', { account: label(d.account) }), close },
    h('form', { onsubmit: (e) => { e.preventDefault(); save(d, from); }, novalidate: true },
      h('p', { class: 'hint' }, t('link.from', { bank: d.connection.institution, book: state.book.name })),
      accountField(d, set, busy),
      periodFields(d, set, from),
      beyond(d, from),
      h('div', { class: 'field check' },
        h('input', { type: 'checkbox', id: 'pending', checked: d.pending, onchange: (e) => set({ pending: e.target.checked }), 'aria-describedby': 'pending-hint' }),
        h('label', { for: 'pending' }, t('link.pending')), h('p', { class: 'hint', id: 'pending-hint' }, t('link.pending.hint'))),
      h('p', { class: 'hint' }, t('link.as', { email: state.user })),
      trouble(d, set, from),
      h('p', { class: 'actions' },
        h('button', { type: 'submit', class: 'button primary', disabled: busy, 'aria-busy': busy ? 'true' : undefined }, t(d.integration ? 'link.save.again' : 'link.save')),
        button(t('cancel'), close, { disabled: busy }))));
}

export const label = (account) => (account.mask ? `${account.name} ••${account.mask}` : account.name);

function accountField(d, set, busy) {
  const all = usable();
  const typed = d.typed.trim();
  const some = d.touched && typed ? all.filter((a) => fits(a.name, typed)) : all;
  const same = all.some((a) => compare(a.name, typed) === 0);
  const options = some.map((a) => ({ id: a.id, label: a.name, beside: t(`type.${a.type}`) }));
  if (typed && !same) options.push({ id: 'new', label: t('link.create', { name: typed }), beside: t(`type.${typeOf(d.account)}`), kind: 'new' });
  const pick = (o) => {
    const account = all.find((a) => a.id === o.id);
    set({ typed: account?.name ?? typed, to: account ? { account: account.id } : { create: typed }, list: false, touched: false });
  };
  const input = (text) => {
    const exact = all.find((a) => compare(a.name, text.trim()) === 0);
    set({ typed: text, to: exact ? { account: exact.id } : text.trim() ? { create: text.trim() } : {}, list: true, active: 0, touched: true });
  };
  const hint = d.to.create ? t('link.account.new', { type: t(`type.${typeOf(d.account)}`) }) : t('link.account.hint');
  return field(t('link.account', { book: state.book.name }), 'account', combobox({
    id: 'account', value: d.typed, open: d.list, active: d.active, options, disabled: busy, describedby: 'account-hint', placeholder: t('link.account.search'),
    oninput: input, onpick: pick, onopen: () => set({ list: true, active: 0 }), onclose: () => set({ list: false }), onmove: (active) => set({ active, list: true }),
  }), hint);
}

function periodFields(d, set, from) {
  return [
    field(t('link.period'), 'period',
      h('select', { id: 'period', value: d.period, 'aria-describedby': 'period-hint', onchange: (e) => set({ period: e.target.value, date: from }) },
        [...Object.keys(periods), 'date'].map((p) => h('option', { key: p, value: p }, t(`period.${p}`)))),
      t(d.integration ? 'link.period.again' : 'link.period.hint', { date: from ? day(from) : '' })),
    d.period === 'date' ? field(t('link.date'), 'date', h('input', { type: 'date', id: 'date', value: d.date, min: '1990-01-01', required: true, onchange: (e) => set({ date: e.target.value }) })) : null,
  ];
}

// beyond says before saving what the bank cannot give, and what to do instead.
function beyond(d, from) {
  const most = historyOf(d.connection.provider);
  const first = back(most);
  if (!most || !from || from >= first) return null;
  return notice('warn', h('p', null, t('link.beyond', { bank: d.connection.institution, date: day(first) })), h('p', null, t('link.file')));
}

async function save(d, from) {
  if (!d.to.account && !d.to.create) return note(thing, { problem: { code: 'no_account', detail: '' } });
  if (!from) return note(thing, { problem: { code: 'no_date', detail: '' } });
  const saved = await act(thing, () => post('link', {
    book: openBook(), connection: d.connection.id, key: d.account.key, ...d.to, from, pending: d.pending,
    ...(d.insist ? { insist: true } : {}), ...(d.replaces ? { replaces: d.replaces } : {}),
  }));
  if (!saved) return undefined;
  close();
  say(t('link.saved'));
  hurry();
  await (d.to.create ? loadBook() : loadIntegrations());
  if (d.integration) note(`integration ${saved.id}`, { text: t('link.kept') });
  return saved;
}

// trouble shows a refusal, and asks where the person can decide.
function trouble(d, set, from) {
  const problem = state.notes[thing]?.problem;
  if (!problem) return null;
  const bank = d.connection.institution;
  switch (problem.code) {
    case 'currency_mismatch': case 'digits_mismatch':
      return h('div', { class: 'notice warn', role: 'alert' }, h('p', null, mismatch(problem, d)),
        h('div', { class: 'field check' },
          h('input', { type: 'checkbox', id: 'insist', checked: d.insist, onchange: (e) => set({ insist: e.target.checked }) }),
          h('label', { for: 'insist' }, t('link.insist'))));
    case 'consent_required':
      return h('div', { class: 'notice warn', role: 'alert' }, h('p', null, explain(problem)),
        h('p', { class: 'actions' }, button(t('link.consent'), () => consent(d, from, problem.url), { kind: 'primary' })));
    case 'which_account':
      return which(problem, d, set);
    default:
      return refusal(problem, bank);
  }
}

const mismatch = (problem, d) =>
  problem.code === 'currency_mismatch'
    ? t('error.currency_mismatch', { bank: d.account.currency, book: state.book.currency ?? '?' })
    : t('error.digits_mismatch', { bank: d.account.currency });

// which asks which former bank account this one is: only the person can tell.
function which(problem, d, set) {
  const all = [...(state.integrations?.integrations ?? []), ...(state.integrations?.former ?? [])];
  const named = (i) => i.connection === d.connection.id && d.connection.accounts.some((a) => a.key === i.key);
  const alike = all.filter((i) => !named(i) && (i.institution === d.connection.institution || i.account === d.to.account || (i.mask && i.mask === d.account.mask)));
  const choice = (id, text) => h('div', { class: 'field check', key: id },
    h('input', { type: 'radio', name: 'replaces', id: `replaces-${id}`, checked: d.replaces === id, onchange: () => set({ replaces: id }) }),
    h('label', { for: `replaces-${id}` }, text));
  return h('fieldset', { class: 'notice warn' }, h('legend', null, t('link.which')), h('p', null, explain(problem)),
    alike.map((i) => choice(i.id, t('link.which.one', { bank: i.institution, account: label(i), to: i.account_name, date: day(i.from) }))),
    choice('none', t('link.which.none')));
}

// consent leaves for Google; the dialog stands again when the person comes back.
function consent(d, from, url) {
  const { typed, to, pending, insist, replaces } = d;
  sessionStorage.setItem(kept, JSON.stringify({ book: openBook(), connection: d.connection.id, key: d.account.key, typed, to, date: from, pending, insist, replaces }));
  location.assign(loginURL(url));
}

// resume opens the dialog again that a consent has interrupted.
export function resume() {
  const before = JSON.parse(sessionStorage.getItem(kept) ?? 'null');
  sessionStorage.removeItem(kept);
  const connection = before && before.book === openBook() && connectionOf(before.connection);
  const account = connection?.accounts.find((a) => a.key === before.key);
  if (!account || !state.book) return;
  open(connection, account, linkOf(connection.id, account.key));
  const { typed, to, date, pending, insist, replaces } = before;
  change({ dialog: { ...state.dialog, typed, to, date, pending, insist, replaces, period: 'date' } });
}

// progress tells how far the import of an integration is.
export function progress(i) {
  const p = i.progress;
  if (i.status !== 'importing') {
    const last = p.last ? t('progress.last', { n: p.recorded, ago: ago(p.last), at: moment(p.last) }) : t('progress.none');
    return h('p', { class: 'small', title: p.last ? moment(p.last) : undefined }, last);
  }
  return h('div', { class: 'progress' },
    meter(fraction(i), t('progress.label', { account: label(i) })),
    h('p', { class: 'small' }, p.oldest ? t('progress.back', { n: p.recorded, date: day(p.oldest) }) : t('progress.so.far', { n: p.recorded })),
    h('p', { class: 'hint' }, t('progress.long')));
}

// fraction is how much of the period the bank has given; null before it has given anything, and while all of it is looked
// through once more. It is never whole before the import is.
function fraction(i) {
  if (!i.progress.oldest || i.progress.complete) return null;
  const today = Date.now();
  const wanted = today - Date.parse(i.from);
  return wanted <= 0 ? 0.95 : Math.min(Math.max((today - Date.parse(i.progress.oldest)) / wanted, 0.05), 0.95);
}
