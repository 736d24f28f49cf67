// @ts-check
import { noticePage } from './ui/notice.js';

noticePage('selftest');
