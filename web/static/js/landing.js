// @ts-check
import { landingPage } from './ui/landing.js';

landingPage();
