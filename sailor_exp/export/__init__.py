"""Files of the planners that Sailor is compared with, each made from the gathered database by one small module."""
