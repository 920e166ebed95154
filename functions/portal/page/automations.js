// Apps and Bots.

import { h } from './dom.js';
import { t } from './text.js';
import { state } from './state.js';
import { heading, icon } from './ui.js';

const section = (name, parts) => () => [
  heading(t(name)),
  h('p', { class: 'lead' }, t(`${name}.lead`)),
  h('div', { class: 'card prose' },
    h('h2', null, icon(name), t(`${name}.soon`)),
    h('p', null, t(`${name}.where`, { book: state.book?.name ?? t('books.yours') })),
    h('ul', null, parts.map((part) => h('li', { key: part }, h('strong', null, t(`${name}.${part}`)), ' ', t(`${name}.${part}.detail`))))),
];

export const apps = section('apps', ['sheets', 'import', 'own']);
export const bots = section('bots', ['exchange', 'tax', 'own']);
